//! What keys and news do to the model of `top`.

use super::*;
use crate::terminal::shapes::Moved;

fn watch() -> Watch {
    Watch { filter: String::new(), sort: "id".to_owned(), offset: 0, limit: ROWS, session: None }
}

fn session(id: &str) -> Session {
    Session { id: id.to_owned(), ..Session::default() }
}

fn overview(ids: &[&str]) -> Overview {
    Overview {
        rows: ids.iter().map(|id| session(id)).collect(),
        total: ids.len() as u64,
        ..Overview::default()
    }
}

/// A model that shows `ids` on a page of ten rows.
fn showing(ids: &[&str]) -> Model {
    let mut model = Model::new(watch());
    model.list.set_page(10);
    assert_eq!(model.hear_overview(overview(ids)), None);
    model
}

fn press(model: &mut Model, code: KeyCode) -> Option<Command> {
    model.press(code.into())
}

fn type_in(model: &mut Model, text: &str) {
    for sign in text.chars() {
        assert_eq!(press(model, KeyCode::Char(sign)), None);
    }
}

fn selected(model: &Model) -> &str {
    &model.session().unwrap().id
}

fn watched(command: Option<Command>) -> Watch {
    match command {
        Some(Command::Watch(watch)) => watch,
        other => panic!("{other:?}"),
    }
}

/// A model that looks at session `b`, with streams 1, 3 and 5.
fn opened() -> Model {
    let mut model = showing(&["a", "b"]);
    press(&mut model, KeyCode::Down);
    let watch = watched(press(&mut model, KeyCode::Enter));
    assert_eq!((watch.session.as_deref(), watch.limit), (Some("b"), 1));
    let streams = [1, 3, 5].map(|id| Stream { id, ..Stream::default() }).to_vec();
    model.hear_session(Session { streams, ..session("b") });
    model
}

fn opened_of(model: &Model) -> &Opened {
    match &model.view {
        View::Session(opened) => opened,
        View::List => panic!("no session is open"),
    }
}

#[test]
fn the_selection_follows_its_session() {
    let mut model = showing(&["a", "b", "c"]);
    press(&mut model, KeyCode::Down);
    assert_eq!(selected(&model), "b");
    model.hear_overview(overview(&["c", "x", "y", "b"]));
    assert_eq!(selected(&model), "b");
    // When it is gone what took its place is selected.
    model.hear_overview(overview(&["c", "x"]));
    assert_eq!(selected(&model), "x");
    model.hear_overview(overview(&[]));
    assert!(model.session().is_none());
    for code in [KeyCode::Enter, KeyCode::Down, KeyCode::Up, KeyCode::Char('c'), KeyCode::PageDown] {
        assert_eq!(press(&mut model, code), None, "{code:?}");
    }
    assert!(matches!(model.dialog, Dialog::None));
}

#[test]
fn q_and_control_c_quit_from_everywhere() {
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for mut model in [showing(&["a"]), opened()] {
        assert_eq!(press(&mut model, KeyCode::Char('q')), Some(Command::Quit));
        press(&mut model, KeyCode::Char('/'));
        assert_eq!(model.press(control_c), Some(Command::Quit));
    }
    let mut model = showing(&["a"]);
    let suspend = KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL);
    assert_eq!(model.press(suspend), Some(Command::Suspend));
}

#[test]
fn a_session_is_closed_after_a_yes_alone() {
    for (key, now) in [('c', false), ('C', true)] {
        let mut model = showing(&["a"]);
        assert_eq!(press(&mut model, KeyCode::Char(key)), None);
        let order = Order::Close { session: "a".to_owned(), now };
        assert_eq!(press(&mut model, KeyCode::Char('y')), Some(Command::Order(order)));
        for other in
            [KeyCode::Char('n'), KeyCode::Esc, KeyCode::Enter, KeyCode::Char('q'), KeyCode::Char(key)]
        {
            press(&mut model, KeyCode::Char(key));
            assert_eq!(press(&mut model, other), None, "{other:?}");
            assert!(matches!(model.dialog, Dialog::None), "{other:?}");
        }
    }
}

#[test]
fn a_question_is_about_what_was_selected_when_it_was_asked() {
    let mut model = showing(&["a", "b"]);
    press(&mut model, KeyCode::Char('c'));
    model.hear_overview(overview(&["b"]));
    let order = Order::Close { session: "a".to_owned(), now: false };
    assert_eq!(press(&mut model, KeyCode::Char('y')), Some(Command::Order(order)));
}

#[test]
fn a_stream_is_reset_after_a_yes_and_the_selection_follows_it() {
    let mut model = opened();
    press(&mut model, KeyCode::Down);
    let streams = [3, 5, 7].map(|id| Stream { id, ..Stream::default() }).to_vec();
    model.hear_session(Session { streams, ..session("b") });
    assert_eq!(press(&mut model, KeyCode::Char('x')), None);
    let order = Order::Reset { session: "b".to_owned(), stream: 3 };
    assert_eq!(press(&mut model, KeyCode::Char('y')), Some(Command::Order(order)));
}

#[test]
fn a_session_that_is_open_stays_until_escape() {
    let mut model = opened();
    // Of another session, from before.
    model.hear_session(session("a"));
    assert_eq!(opened_of(&model).session.as_ref().unwrap().streams.len(), 3);
    model.hear_gone("a");
    assert!(!opened_of(&model).gone);
    model.hear_gone("b");
    assert!(opened_of(&model).gone && opened_of(&model).session.is_some());
    // The head goes on; the rows behind stay as they were.
    let command = model.hear_overview(Overview { sessions: 7, ..overview(&["z"]) });
    assert_eq!((command, model.overview.sessions, model.overview.rows.len()), (None, 7, 2));
    let watch = watched(press(&mut model, KeyCode::Esc));
    assert_eq!((watch.session, watch.limit), (None, ROWS));
    assert_eq!(selected(&model), "b");
}

#[test]
fn the_flight_recorder_follows_its_end_until_it_is_left() {
    let mut model = opened();
    let with = |count: usize| Session { recorder: vec![Default::default(); count], ..session("b") };
    if let View::Session(opened) = &mut model.view {
        opened.recorder.set_page(5);
    }
    model.hear_session(with(10));
    assert_eq!(opened_of(&model).recorder.at(), Some(9));
    model.hear_session(with(20));
    assert_eq!(opened_of(&model).recorder.at(), Some(19));
    press(&mut model, KeyCode::Tab);
    press(&mut model, KeyCode::Up);
    model.hear_session(with(30));
    assert_eq!(opened_of(&model).recorder.at(), Some(18));
}

#[test]
fn a_filter_is_typed_and_asked_for() {
    let mut model = showing(&["a"]);
    press(&mut model, KeyCode::Char('/'));
    type_in(&mut model, "age > 90sx");
    press(&mut model, KeyCode::Backspace);
    assert_eq!(watched(press(&mut model, KeyCode::Enter)).filter, "age > 90s");
    // It is there to be changed, and Escape leaves it.
    press(&mut model, KeyCode::Char('/'));
    type_in(&mut model, "0");
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.filter, "age > 90s");
    press(&mut model, KeyCode::Char('/'));
    model.press(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
    assert_eq!(watched(press(&mut model, KeyCode::Enter)).filter, "");
}

#[test]
fn a_filter_that_is_refused_can_be_mended_while_the_last_good_one_goes_on() {
    let mut model = showing(&["a"]);
    press(&mut model, KeyCode::Char('/'));
    type_in(&mut model, "agee > 1s");
    press(&mut model, KeyCode::Enter);
    assert_eq!(watched(model.hear_refused("no field agee".to_owned())).filter, "");
    match &model.dialog {
        Dialog::Filter { text, refused } => {
            assert_eq!((&**text, refused.as_deref()), ("agee > 1s", Some("no field agee")));
        }
        _ => panic!("the filter is typed again"),
    }
    // What was taken before and is refused now is not asked for in a circle.
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.hear_refused("a token is wanted".to_owned()), None);
    assert_eq!(model.link, Link::Lost("a token is wanted".to_owned()));
}

#[test]
fn the_order_goes_from_column_to_column() {
    let mut model = showing(&["a"]);
    let fields: Vec<&str> = SESSIONS.iter().filter_map(|column| column.sort).collect();
    for _ in 0..fields.len() {
        let sort = watched(press(&mut model, KeyCode::Char('>'))).sort;
        assert!(fields.contains(&sort.trim_start_matches('-')), "{sort}");
    }
    assert_eq!(model.sort, "id");
    assert_eq!(watched(press(&mut model, KeyCode::Char('<'))).sort, "-wait");
    assert_eq!(watched(press(&mut model, KeyCode::Char('r'))).sort, "wait");
    assert_eq!(model.order(), ("wait", false));
}

#[test]
fn more_rows_than_are_told_at_once_are_pages() {
    let mut model = showing(&["a", "b"]);
    model.hear_overview(Overview { total: 5, ..overview(&["a", "b"]) });
    press(&mut model, KeyCode::Down);
    assert_eq!(watched(press(&mut model, KeyCode::Down)).offset, 2);
    model.hear_overview(Overview { total: 5, offset: 2, ..overview(&["c", "d"]) });
    assert_eq!(selected(&model), "c");
    assert_eq!(watched(press(&mut model, KeyCode::Up)).offset, 0);
    // The last page became empty.
    model.hear_overview(Overview { total: 3, ..overview(&["a", "b"]) });
    press(&mut model, KeyCode::End);
    press(&mut model, KeyCode::Down);
    assert_eq!(watched(model.hear_overview(Overview { total: 2, ..overview(&[]) })).offset, 0);
}

#[test]
fn rates_are_the_difference_of_two_overviews() {
    let at = |at: f64, requests_total: u64, sent: u64| Overview {
        at,
        requests_total,
        bytes: Moved { received: 0, sent },
        ..Overview::default()
    };
    let mut model = Model::new(watch());
    model.hear_overview(at(100.0, 10, 1000));
    assert_eq!(model.rates, None);
    model.hear_overview(at(102.0, 30, 5000));
    assert_eq!(model.rates, Some(Rates { requests: 10.0, received: 0.0, sent: 2000.0 }));
    // Another stream of events begins at once with an overview: too close to tell anything.
    model.hear_overview(at(102.1, 31, 5000));
    assert_eq!(model.rates.unwrap().requests, 10.0);
    model.hear_overview(at(103.0, 35, 5000));
    assert_eq!(model.rates.unwrap().requests, 5.0);
    // A gateway that was started again.
    model.hear_overview(at(104.0, 0, 0));
    assert_eq!(model.rates, None);
    model.hear_overview(at(50.0, 10, 0));
    assert_eq!(model.rates, None);
}

#[test]
fn a_gateway_that_cannot_be_heard_is_told_until_it_can() {
    let mut model = showing(&["a"]);
    model.hear_lost("connection refused".to_owned());
    assert_eq!(model.link, Link::Lost("connection refused".to_owned()));
    assert_eq!(selected(&model), "a", "what was told last stays");
    model.hear_overview(overview(&["a"]));
    assert_eq!(model.link, Link::Up);
}

#[test]
fn a_notice_stays_until_the_next_key() {
    let mut model = showing(&["a"]);
    model.hear_told("session a is closed".to_owned());
    model.hear_overview(overview(&[]));
    assert!(model.notice.is_some());
    press(&mut model, KeyCode::Char('g'));
    assert_eq!(model.notice, None);
}

#[test]
fn help_ends_with_any_key_and_that_key_does_nothing_else() {
    let mut model = showing(&["a"]);
    press(&mut model, KeyCode::Char('?'));
    assert!(matches!(model.dialog, Dialog::Help));
    assert_eq!(press(&mut model, KeyCode::Char('q')), None);
    assert!(matches!(model.dialog, Dialog::None));
}
