-- arg: --alter=RENAME TO other
-- fails: ALTER statement seems to RENAME the table
CREATE TABLE t (id INT PRIMARY KEY);
