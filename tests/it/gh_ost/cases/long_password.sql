-- arg: --password=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
-- fails: MySQL replication length limited to 32 characters
CREATE TABLE t (id INT PRIMARY KEY);
