//! Records and values are taken as they were put, and what is cut or wrong is an error.

use super::*;

#[test]
fn what_is_put_is_taken() {
    let mut buffer = Vec::new();
    buffer.put_u16(7);
    buffer.put_int(-3);
    buffer.put_float(1.5);
    buffer.put_str("né");
    let mut take = Take::new(&buffer);
    assert_eq!(take.u16(), Ok(7));
    assert_eq!((take.u8(), take.i64()), (Ok(value::INT), Ok(-3)));
    assert_eq!((take.u8(), take.f64()), (Ok(value::FLOAT), Ok(1.5)));
    assert_eq!((take.u8(), take.text()), (Ok(value::STR), Ok("né")));
    assert!(take.is_empty());
}

#[test]
fn events_are_counted_by_the_records_that_stand_for_them_and_half_a_record_is_none() {
    let mut records = Vec::new();
    let mut ends = vec![(0, 0)];
    let mut record = |events: u64, compose: &dyn Fn(&mut Vec<u8>)| {
        compose(&mut records);
        ends.push((records.len(), events));
    };
    let value = |out: &mut Vec<u8>| {
        out.put_compound(value::SEQ, 1, 3);
        out.put_str("text");
        out.put_bytes(&[value::TYPED, 2, 0, 0, 0, value::BIGINT, 1, 1, 0, 0, 0, 9]);
        out.put_typed_text(value::RAW, 3, "raw");
    };
    record(0, &|out| {
        out.put_tagged(record::TURN, 1);
        out.put_u64(2);
    });
    record(0, &|out| out.put_bytes(&[record::CALL, 0, 0, 0, 0]));
    record(0, &|out| {
        out.put_bytes(&[record::SET, 0, 0]);
        value(out);
    });
    record(0, &|out| {
        out.put_bytes(&[record::SET, 0, 0]);
        out.put_whole(9, 1);
        out.put_int(3);
    });
    record(1, &|out| out.put_u8(record::CALL_END));
    record(1, &|out| out.put_bytes(&[record::DECLARE, 1, 0, 1, 0, b'n']));
    record(1, &|out| out.put_bytes(&[record::UNSET, 1, 0]));
    record(2, &|out| out.put_bytes(&[record::STEP, 1, 0, 0, 0]));
    record(3, &|out| {
        out.put_bytes(&[record::OUTPUT, 0, 0]);
        out.put_bytes(&[0; 4 + 4 + 8]);
        out.put_text("output");
    });
    record(3, &|out| out.put_bytes(&[record::LOST, 0, 1, 0, 0, 0, 0, 0, 0, 0]));
    record(4, &|out| {
        out.put_bytes(&[record::EVENT, 0]);
        out.put_text("{}");
        out.put_text("");
    });
    record(5, &|out| {
        out.put_bytes(&[record::THROW, 0, 0, 0, 0]);
        value(out);
    });
    record(6, &|out| {
        out.put_u8(record::RETURN);
        value(out);
    });
    record(7, &|out| out.put_bytes(&[record::RESUME, 0, 0, 0, 0]));
    record(7, &|out| {
        out.put_tagged(record::SAMPLE_BEGIN, 1);
        out.put_text("{}");
    });
    record(7, &|out| out.put_tagged(record::SAMPLE_END, 1));
    for len in 0..=records.len() {
        let whole = ends.iter().rev().find(|(end, _)| *end <= len).unwrap();
        assert_eq!(events_in(&records[..len]), whole.1, "of {len} bytes");
    }
    records.push(0xee);
    records.push(record::CALL_END);
    assert_eq!(events_in(&records), 7);
}

#[test]
fn a_whole_value_is_taken_without_what_is_around_it_and_stands_nowhere_else() {
    let mut whole = Vec::new();
    whole.put_whole(0, 0);
    whole.put_compound(value::SEQ, 1, 1);
    whole.put_int(7);
    end_whole(&mut whole, value::WHOLE_HEAD, 5);
    let plain = whole[value::WHOLE_HEAD..].to_vec();
    whole.push(record::CALL_END);

    let mut take = Take::new(&whole);
    assert_eq!(take.known_value(), Ok((5, &plain[..])));
    assert_eq!(take.rest(), [record::CALL_END]);
    assert_eq!(Take::new(&whole).value(), Ok(&plain[..]));
    assert_eq!(Take::new(&plain).known_value(), Ok((0, &plain[..])));

    assert_eq!(Take::new(&whole[..whole.len() - 2]).value(), Err(Malformed), "it is cut");
    let mut within = Vec::new();
    within.put_compound(value::SEQ, 1, 1);
    within.extend_from_slice(&whole);
    assert_eq!(Take::new(&within).value(), Err(Malformed));
}

#[test]
fn short_or_invalid_bytes_are_an_error_and_not_a_panic() {
    assert_eq!(Take::new(&[1, 0]).u32(), Err(Malformed));
    assert_eq!(Take::new(&[9, 0, 0, 0, b'a']).text(), Err(Malformed));
    assert_eq!(Take::new(&[1, 0, 0, 0, 0xff]).text(), Err(Malformed));
}
