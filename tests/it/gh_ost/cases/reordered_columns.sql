-- arg: --alter=MODIFY c INT AFTER id, CHANGE b bb INT FIRST
-- arg: --approve-renamed-columns
-- compare: id, a, b, c / id, a, bb, c
-- always
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b INT, c INT);
-- during
INSERT IGNORE INTO t VALUES (1, 2, 3, 4), (2, 3, 4, 5);
INSERT INTO t (a, b, c) VALUES (6, 7, 8);
UPDATE t SET a = a + id, c = c + id ORDER BY id DESC LIMIT 1;
DELETE FROM t WHERE id = 1;
