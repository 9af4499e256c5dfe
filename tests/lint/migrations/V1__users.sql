-- Flyway, the first version.
CREATE TABLE ${schema}.users (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  email VARCHAR(255) NOT NULL,
  state ENUM('new', 'active', 'blocked') NOT NULL DEFAULT 'new',
  visits INT NOT NULL DEFAULT 0,
  PRIMARY KEY (id)
);
