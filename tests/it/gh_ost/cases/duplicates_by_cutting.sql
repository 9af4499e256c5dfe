-- arg: --alter=MODIFY a VARCHAR(4) NOT NULL
-- arg: --panic-on-warnings
-- fails: Warning: Duplicate entry 'Anna' for key
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) NOT NULL, UNIQUE KEY ua (a));
INSERT INTO t (a) VALUES ('Anna Lee'), ('Anna Ray');
