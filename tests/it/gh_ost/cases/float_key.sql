-- fails: No shared unique key can be found after ALTER! Bailing out
CREATE TABLE t (f FLOAT NOT NULL, UNIQUE KEY (f));
