DELETE FROM ${schema}.users;
VACUUM users;
