-- arg: --alter=CHANGE a b INT
-- fails: --approve-renamed-columns
-- always
CREATE TABLE t (id INT PRIMARY KEY, a INT);
