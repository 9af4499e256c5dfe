-- arg: --analyze-ghost-table-before-cutover
-- arg: --alter=ADD INDEX (a)
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT);
INSERT INTO t (a) VALUES (1), (2);
-- during
INSERT INTO t (a) VALUES (3);
