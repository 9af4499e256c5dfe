-- arg: --alter=MODIFY a VARCHAR(60) CHARACTER SET utf8mb4, MODIFY b VARCHAR(60) CHARACTER SET latin1
-- always
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(60) CHARACTER SET latin1, b VARCHAR(60) CHARACTER SET utf8mb3, c VARCHAR(60) CHARACTER SET utf8mb4);
INSERT INTO t (a, b, c) VALUES ('élan', 'élan', '🍃 élan'), (NULL, 'ß', NULL);
-- during
INSERT INTO t (a, b, c) VALUES ('façade', 'naïve', 'wind 🌬');
UPDATE t SET a = 'öre' WHERE a = 'façade' ORDER BY id DESC LIMIT 1;
DELETE FROM t WHERE a = 'öre' ORDER BY id LIMIT 1;
