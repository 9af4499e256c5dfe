-- compare: id, ST_AsText(g), ST_AsText(p) / id, ST_AsText(g), ST_AsText(p)
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, g GEOMETRY, p POINT);
-- during
INSERT INTO t (g, p) VALUES (ST_GeomFromText('LINESTRING(0 0, 1 1)'), ST_GeomFromText('POINT(3 4)')), (NULL, NULL);
UPDATE t SET p = ST_GeomFromText('POINT(5 6)') ORDER BY id DESC LIMIT 1;
