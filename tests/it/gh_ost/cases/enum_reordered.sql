-- arg: --alter=MODIFY e ENUM('shut', 'new', 'open'), MODIFY s SET('c', 'b', 'a', 'd')
-- compare: id, CONCAT(e), HEX(s LIKE '%a%') / id, CONCAT(e), HEX(s LIKE '%a%')
-- always
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, e ENUM('new', 'open', 'shut'), s SET('a', 'b', 'c'));
-- during
INSERT INTO t (e, s) VALUES ('open', 'a,c'), (NULL, ''), ('shut', NULL);
UPDATE t SET e = 'new', s = 'b' ORDER BY id DESC LIMIT 1;
