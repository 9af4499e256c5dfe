CREATE USER 'changeling'@'%' IDENTIFIED BY 'changeling';
GRANT ALL PRIVILEGES ON *.* TO 'changeling'@'%' WITH GRANT OPTION;
RESET MASTER;
SET GLOBAL gtid_slave_pos = '';
CHANGE MASTER TO MASTER_HOST = 'mariadb-primary', MASTER_USER = 'changeling',
  MASTER_PASSWORD = 'changeling', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1;
START SLAVE;
