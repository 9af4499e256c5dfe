-- fails: Bailing out
CREATE TABLE base (id INT PRIMARY KEY);
CREATE VIEW t AS SELECT * FROM base;
