-- on: mysql
CREATE TABLE t (id INT AUTO_INCREMENT, j JSON NOT NULL, k VARCHAR(36) CHARACTER SET utf8mb4 AS (JSON_UNQUOTE(JSON_EXTRACT(j, '$.k'))) STORED NOT NULL, n INT, PRIMARY KEY (id, k));
-- during
INSERT INTO t (j) VALUES ('{"k": 5}'), ('{"k": "x"}');
UPDATE t SET n = 1 WHERE k = '5';
