-- arg: --alter=MODIFY e VARCHAR(20) NOT NULL DEFAULT ''
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, e ENUM('new', 'open'));
INSERT INTO t (e) VALUES ('new');
-- during
INSERT INTO t (e) VALUES ('open');
UPDATE t SET e = 'new' ORDER BY id DESC LIMIT 1;
