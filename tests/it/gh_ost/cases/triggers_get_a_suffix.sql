-- arg: --include-triggers
-- arg: --trigger-suffix=_x
-- arg: --remove-trigger-suffix-if-exists
-- always
CREATE TABLE seen (id INT, what VARCHAR(20));
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT);
CREATE TRIGGER t_ai AFTER INSERT ON t FOR EACH ROW INSERT INTO seen VALUES (NEW.id, 'insert');
CREATE TRIGGER t_bd_x BEFORE DELETE ON t FOR EACH ROW INSERT INTO seen VALUES (OLD.id, 'delete');
-- during
INSERT INTO t (a) VALUES (1), (2);
UPDATE t SET a = a + 1 ORDER BY id DESC LIMIT 1;
DELETE FROM t ORDER BY id LIMIT 1;
