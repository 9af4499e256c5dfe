-- arg: --allow-nullable-unique-key
CREATE TABLE t (k INT NULL, a INT, UNIQUE KEY (k));
INSERT INTO t VALUES (1, 1), (2, 2);
-- during
INSERT IGNORE INTO t VALUES (FLOOR(RAND() * 1000000), 3);
UPDATE t SET a = a + 1 LIMIT 1;
