-- arg: --alter=ADD COLUMN n INT
-- arg: --allow-zero-in-date
-- compare: id, d, s / id, d, s
SET SESSION sql_mode = '';
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, d DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00', s TIMESTAMP NULL);
INSERT INTO t (d, s) VALUES ('0000-00-00', '0000-00-00'), ('2001-00-00', NULL);
-- during
INSERT INTO t (d, s) VALUES (NOW(), NOW());
UPDATE t SET s = NULL ORDER BY id DESC LIMIT 1;
