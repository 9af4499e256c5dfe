-- arg: --alter=ADD UNIQUE KEY ua (a)
-- arg: --panic-on-warnings
-- fails: Warning: Duplicate entry 'Ann' for key
-- always
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) NOT NULL);
INSERT INTO t (a) VALUES ('Ann'), ('Bob'), ('Ann');
