-- arg: --alter=MODIFY e ENUM('new', 'shut')
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, e ENUM('new', 'open', 'odd', 'shut'));
-- during
INSERT INTO t (e) VALUES ('shut'), ('new');
UPDATE t SET e = 'shut' ORDER BY id LIMIT 1;
