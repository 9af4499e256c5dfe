-- arg: --discard-foreign-keys
-- fails: Parent-side foreign keys are not supported. Bailing out
CREATE TABLE t (id INT PRIMARY KEY);
CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES t (id));
