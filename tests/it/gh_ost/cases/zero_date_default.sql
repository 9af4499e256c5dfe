-- arg: --alter=MODIFY d DATETIME NOT NULL DEFAULT '1970-00-00 00:00:00'
-- arg: --allow-zero-in-date
-- on: mysql
-- always
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, d DATETIME);
-- during
INSERT INTO t (d) VALUES ('2010-10-20 10:20:30');
