-- arg: --alter=ADD COLUMN `index` INT UNSIGNED, ADD INDEX `key` (`order`)
-- compare: id, `order` / id, `order`
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, `order` INT);
-- during
INSERT INTO t (`order`) VALUES (1);
