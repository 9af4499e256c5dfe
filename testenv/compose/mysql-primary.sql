CREATE USER 'changeling'@'%' IDENTIFIED BY 'changeling';
GRANT ALL PRIVILEGES ON *.* TO 'changeling'@'%' WITH GRANT OPTION;
-- the history begins here, on both servers
RESET BINARY LOGS AND GTIDS;
