-- fails: Found triggers on the table
CREATE TABLE t (id INT PRIMARY KEY);
CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @x = 1;
