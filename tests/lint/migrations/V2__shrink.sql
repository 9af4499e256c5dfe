ALTER TABLE ${schema}.users
  ADD COLUMN country CHAR(2) NOT NULL,
  MODIFY state ENUM('new', 'active') NOT NULL DEFAULT 'new',
  ADD UNIQUE KEY by_email (email);

-- changeling:allow drop-index by_visits has not been used for a month
DROP INDEX by_visits ON ${schema}.users;
