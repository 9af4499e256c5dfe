//! Linting with a server at hand: tables are judged by what is there.

use changeling::mysql::quote;

use crate::support::{Program, TestDb, both};

/// What the server takes for a keyword gets backticks in what lint proposes.
#[tokio::test]
async fn reserved_words_are_known() {
    both(async |server| {
        let db = TestDb::create(server, "lint").await;
        let mut words: Vec<String> = db
            .rows("SELECT WORD FROM information_schema.KEYWORDS")
            .await;
        // Operators are no names.
        words.retain(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        assert!(words.len() > 400, "{words:?}");
        let columns: Vec<String> = words
            .iter()
            .map(|word| format!("{} INT", quote::shown(word)))
            .collect();
        db.sql(format!("CREATE TABLE t ({})", columns.join(", ")))
            .await;
    })
    .await;
}

#[tokio::test]
async fn tables_are_looked_up() {
    both(async |server| {
        let db = TestDb::create(server, "lint").await;
        db.sql("CREATE TABLE `my orders` (id BIGINT PRIMARY KEY, n INT, v VARCHAR(20))").await;
        let file = std::env::temp_dir().join(format!("{}.sql", db.name));
        std::fs::write(
            &file,
            "ALTER TABLE `my orders` MODIFY n SMALLINT;\nALTER TABLE `my orders` MODIFY v VARCHAR(30);\n\
             ALTER TABLE missing MODIFY v VARCHAR(30);\n",
        )
        .unwrap();
        let path = file.to_str().unwrap();
        let with = Program::on(server, "lint", ["--server", "-D", &db.name, path]).run().await;
        let without = Program::new(["lint", path]).run().await;
        std::fs::remove_file(&file).unwrap();

        assert_eq!(with.code, Some(1), "{with:?}");
        let lines: Vec<&str> = with.stdout.lines().filter(|line| line.starts_with(path)).collect();
        assert!(
            lines[0].contains(":1: error narrow-type: column n of `my orders` becomes SMALLINT from INT")
                && lines[0].contains("(about ")
                && lines[0].ends_with("iB)"),
            "{with:?}"
        );
        assert!(lines[1].contains(":2: warning multiple-alters"), "{with:?}");
        assert!(lines[2].contains(":3: warning change-type"), "{with:?}");
        assert_eq!(lines.len(), 3, "{with:?}");
        assert_eq!(without.code, Some(0), "{without:?}");
        assert!(without.stdout.contains("what it was is not in these files"), "{without:?}");
    })
    .await;
}
