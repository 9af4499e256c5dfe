-- arg: --include-triggers
-- arg: --trigger-suffix=_x
-- arg: --remove-trigger-suffix-if-exists
-- fails: found gh-ost triggers
CREATE TABLE t (id INT PRIMARY KEY);
CREATE TABLE other (id INT PRIMARY KEY);
CREATE TRIGGER tr_x BEFORE INSERT ON t FOR EACH ROW SET @x = 1;
CREATE TRIGGER tr BEFORE INSERT ON other FOR EACH ROW SET @x = 1;
