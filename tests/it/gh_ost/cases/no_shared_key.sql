-- arg: --alter=DROP PRIMARY KEY, ADD PRIMARY KEY (id, a)
-- fails: No shared unique key can be found after ALTER! Bailing out
-- always
CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL);
