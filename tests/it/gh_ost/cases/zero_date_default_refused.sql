-- arg: --alter=MODIFY d DATETIME NOT NULL DEFAULT '1970-00-00 00:00:00'
-- on: mysql
-- fails: FATAL Error 1067 (42000): Invalid default value for 'd'
-- always
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, d DATETIME);
