-- arg: --alter=RENAME COLUMN a TO b
-- arg: --approve-renamed-columns
-- compare: id, a / id, b
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT);
-- during
INSERT INTO t (a) VALUES (1);
UPDATE t SET a = a + 1 ORDER BY id DESC LIMIT 1;
