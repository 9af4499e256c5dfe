-- arg: --alter=ADD COLUMN n INT
-- compare: id, a / id, a
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(60)) CHARACTER SET gbk;
INSERT INTO t (a) VALUES ('列名');
-- during
INSERT INTO t (a) VALUES ('测试'), ('abc');
UPDATE t SET a = '更新' ORDER BY id DESC LIMIT 1;
