-- arg: --alter=ADD COLUMN exchange DOUBLE COMMENT 'change rate used, rename to what you like'
-- compare: id, a / id, a
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT);
-- during
INSERT INTO t (a) VALUES (1);
