-- fails: No PRIMARY nor UNIQUE key found in table! Bailing out
CREATE TABLE t (a INT, b INT, KEY (a));
