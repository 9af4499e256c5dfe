-- always
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, j JSON);
INSERT INTO t (j) VALUES ('"text"'), (NULL);
-- during
INSERT INTO t (j) VALUES ('{"a": [1, true, null, {"b": "é"}]}'), (CONCAT('"', REPEAT('long ', 400), '"'));
UPDATE t SET j = JSON_SET('{"n": 1}', '$.n', id) ORDER BY id DESC LIMIT 1;
