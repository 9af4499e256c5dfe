-- arg: --alter=MODIFY id INT, DROP PRIMARY KEY
-- fails: No PRIMARY nor UNIQUE key found in table! Bailing out
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY);
