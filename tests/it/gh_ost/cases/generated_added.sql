-- arg: --alter=ADD COLUMN twice INT AS (a * 2) VIRTUAL
-- compare: id, a, a * 2 / id, a, twice
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT NOT NULL);
-- during
INSERT INTO t (a) VALUES (3), (5);
UPDATE t SET a = a + 1 ORDER BY id DESC LIMIT 1;
