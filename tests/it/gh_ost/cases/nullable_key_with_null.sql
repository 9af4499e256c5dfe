-- arg: --allow-nullable-unique-key
-- fails: rows with NULL in the key
CREATE TABLE t (k INT NULL, a INT, UNIQUE KEY (k));
INSERT INTO t VALUES (1, 1), (NULL, 2);
