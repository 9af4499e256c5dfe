-- arg: --alter=MODIFY e ENUM('new', 'open', 'shut', 'gone') NOT NULL
CREATE TABLE t (id INT AUTO_INCREMENT, e ENUM('new', 'open', 'shut') NOT NULL, PRIMARY KEY (id, e));
-- during
INSERT INTO t (e) VALUES ('open'), ('shut');
UPDATE t SET e = 'new' ORDER BY id DESC LIMIT 1;
