-- always
CREATE TABLE t (id INT PRIMARY KEY, u INT NOT NULL, UNIQUE KEY (u));
INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5);
-- during
UPDATE t SET u = -u;
UPDATE t SET id = id + 1 ORDER BY id DESC;
UPDATE t SET u = u + 1 ORDER BY u DESC;
