-- arg: --alter=CHANGE ab total INT AS (a + b) VIRTUAL
-- arg: --approve-renamed-columns
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT NOT NULL, b INT NOT NULL, ab INT AS (a + b) VIRTUAL, ps INT AS (a * b) STORED);
INSERT INTO t (a, b) VALUES (1, 2);
-- during
INSERT INTO t (a, b) VALUES (3, 4), (5, 6);
UPDATE t SET b = b + 1 ORDER BY id DESC LIMIT 1;
