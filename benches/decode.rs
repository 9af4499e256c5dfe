//! How fast one thread decodes row changes from a recorded binlog.
//!
//! The record: an UPDATE of 1,000 rows on MySQL 9.7 with full images, each 189 bytes long (INT UNSIGNED key,
//! INT, CHAR(120) and CHAR(60) in latin1, TIMESTAMP(6), DECIMAL), so 378 bytes a change. `cargo bench`.

#![allow(clippy::expect_used, reason = "a panic in a benchmark is its report")]

use std::hint::black_box;
use std::io::Read;

use changeling::binlog::recorded::Recorded;
use changeling::change::BinlogEvent;
use changeling::names::{Names, TableName};
use changeling::schema::{
    Column, ColumnMap, ColumnPair, KeyColumn, KeyKind, MigrationKey, TableDefinition,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ROWS: u64 = 1000;

fn columns() -> Vec<Column> {
    let column = |name: &str, data_type: &str, column_type: &str| Column {
        name: name.to_string(),
        data_type: data_type.to_string(),
        column_type: column_type.to_string(),
        ..Column::default()
    };
    let text = |name: &str, bytes: u64| Column {
        charset: Some("latin1".to_string()),
        octet_length: Some(bytes),
        ..column(name, "char", &format!("char({bytes})"))
    };
    let mut columns = vec![
        column("id", "int", "int unsigned"),
        column("k", "int", "int"),
        text("c", 120),
        text("pad", 60),
        Column {
            fraction_digits: 6,
            ..column("at", "timestamp", "timestamp(6)")
        },
        Column {
            decimal: Some((12, 2)),
            ..column("d", "decimal", "decimal(12,2)")
        },
    ];
    for (position, column) in columns.iter_mut().enumerate() {
        column.position = position;
    }
    columns
}

fn decode(criterion: &mut Criterion) {
    let mut file = Vec::new();
    flate2::read::GzDecoder::new(&include_bytes!("update.binlog.gz")[..])
        .read_to_end(&mut file)
        .expect("the record");
    let definition = TableDefinition {
        columns: columns(),
        ..TableDefinition::default()
    };
    let key_column = definition.columns.first().expect("a column").clone();
    let key = MigrationKey {
        source_index: "PRIMARY".to_string(),
        target_index: "PRIMARY".to_string(),
        columns: vec![KeyColumn {
            source: key_column.clone(),
            target: key_column,
            descending: false,
            kind: KeyKind::Integer,
        }],
    };
    let map = ColumnMap {
        pairs: definition
            .columns
            .iter()
            .map(|column| ColumnPair {
                source: column.clone(),
                target: column.clone(),
            })
            .collect(),
        ..ColumnMap::default()
    };
    let names = Names::new(&TableName::new("recorded", "t"), None, None);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(ROWS));
    for (name, images) in [("keys", false), ("whole rows", true)] {
        let mut recorded =
            Recorded::new(&file, &names, &definition, &key, &map, images).expect("the record");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut rows = 0;
                recorded
                    .read(&mut |event| {
                        rows += u64::from(matches!(black_box(event), BinlogEvent::Change(_)))
                    })
                    .expect("the record");
                assert_eq!(rows, ROWS);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
