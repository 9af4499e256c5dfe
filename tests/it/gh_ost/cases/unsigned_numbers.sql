-- arg: --alter=CHANGE u v INT UNSIGNED NOT NULL AFTER id
-- arg: --approve-renamed-columns
-- compare: id, s, u, b, m / id, s, v, b, m
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, s INT NOT NULL, u INT UNSIGNED NOT NULL, b BIGINT UNSIGNED NOT NULL, m MEDIUMINT UNSIGNED);
-- during
INSERT INTO t (s, u, b, m) VALUES (-2147483648, 4294967295, 18446744073709551615, 16777215);
UPDATE t SET s = s + 1, u = u - 1, b = b - 1, m = m - 1 ORDER BY id DESC LIMIT 1;
