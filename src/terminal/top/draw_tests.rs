//! What of the model is seen.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;

use super::*;
use crate::terminal::shapes::{Entry, Moved, Overview, Session, Stream};
use crate::terminal::top::Watch;

const COLOUR: Theme = Theme { colour: true };
const PLAIN: Theme = Theme { colour: false };

fn painted(model: &mut Model, theme: Theme, columns: u16, rows: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal
        .draw(|frame| {
            let area = frame.area();
            measure(model, area);
            draw(model, theme, area, frame.buffer_mut());
        })
        .unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    let row = |y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..area.height).map(|y| row(y).trim_end().to_owned()).collect()
}

fn seen(model: &mut Model, columns: u16, rows: u16) -> Vec<String> {
    lines(&painted(model, PLAIN, columns, rows))
}

fn session(number: u64) -> Session {
    Session {
        id: format!("0-{number}"),
        role: "server".to_owned(),
        protocol: "h2".to_owned(),
        listener: "public".to_owned(),
        peer: Some("127.0.0.1:5000".to_owned()),
        state: "open".to_owned(),
        age_seconds: 75.0,
        streams_open: 1,
        waits: Waits { handler: 3.0, socket: 1.0, ..Waits::default() },
        ..Session::default()
    }
}

fn model(sessions: u64) -> Model {
    let watch =
        Watch { filter: String::new(), sort: "-age".to_owned(), offset: 0, limit: 200, session: None };
    let mut model = Model::new(watch);
    let told = |at: f64, requests_total: u64| Overview {
        at,
        version: "0.1.0".to_owned(),
        stage: "ready".to_owned(),
        uptime_seconds: 192.0,
        sessions,
        streams: 4,
        requests_total,
        bytes: Moved { received: 0, sent: requests_total * 1024 },
        total: sessions,
        rows: (0..sessions).map(session).collect(),
        ..Overview::default()
    };
    model.hear_overview(told(100.0, 0));
    model.hear_overview(told(101.0, 20));
    model
}

fn opened() -> Model {
    let mut model = model(2);
    model.press(KeyCode::Enter.into());
    let streams = (0..30).map(|index| Stream {
        id: index * 2 + 1,
        method: "GET".to_owned(),
        path: "/drip".to_owned(),
        on: Some("handler".to_owned()),
        ..Stream::default()
    });
    let recorder =
        (0..40).map(|index| Entry { frame: Some("PING".to_owned()), length: index, ..Entry::default() });
    model.hear_session(Session { streams: streams.collect(), recorder: recorder.collect(), ..session(0) });
    model
}

#[test]
fn the_list_has_a_head_a_legend_sessions_with_bars_and_keys() {
    let screen = seen(&mut model(3), 130, 12);
    assert_eq!(
        screen[0],
        "stagedoor 0.1.0   ready   up 3m12s   3 sessions   4 streams   20 req/s   in 0/s   out 20K/s"
    );
    assert_eq!(
        screen[1],
        "waited for  b body  h handler  u upstream  w window  c conn window  q scheduler  s socket"
    );
    assert_eq!(screen[2], "1-3 of 3   by age, largest first   filter -");
    assert!(screen[3].starts_with("ID   LISTENER  PROTOCOL  PEER"), "{}", screen[3]);
    assert!(screen[3].contains("AGE↓") && screen[3].ends_with("WAITED FOR"), "{}", screen[3]);
    for row in 4..7 {
        assert!(screen[row].contains("127.0.0.1:5000"), "{screen:?}");
        assert!(
            screen[row].ends_with("hhhhhhhhhhhsss") || screen[row].ends_with("hhhhhhhhhhssss"),
            "{screen:?}"
        );
    }
    assert!(screen[11].starts_with("q quit   ? help"), "{screen:?}");
}

#[test]
fn causes_have_colours_and_the_chosen_row_stands_out() {
    let mut model = model(2);
    let buffer = painted(&mut model, COLOUR, 130, 12);
    let reversed = |y: u16| buffer[(0, y)].modifier.contains(Modifier::REVERSED);
    assert_eq!([reversed(4), reversed(5)], [true, false]);
    let colours: Vec<Color> =
        (0..130).filter(|x| buffer[(*x, 4)].symbol() == "█").map(|x| buffer[(x, 4)].fg).collect();
    assert_eq!(colours.len(), usize::from(BAR));
    assert_eq!((colours[0], colours[13]), (Color::Green, Color::Red));
    let plain = painted(&mut model, PLAIN, 130, 12);
    assert!(plain.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
}

#[test]
fn an_order_by_wait_marks_the_bars() {
    let mut model = model(1);
    model.sort = "-wait".to_owned();
    assert!(seen(&mut model, 130, 12)[3].ends_with("WAITED FOR↓"));
}

#[test]
fn the_chosen_row_is_seen_however_far_down_it_is() {
    let mut model = model(100);
    seen(&mut model, 100, 15);
    model.press(KeyCode::End.into());
    let screen = seen(&mut model, 100, 15);
    assert!(screen[13].starts_with("0-99") && screen[4].starts_with("0-90"), "{screen:?}");
}

#[test]
fn a_session_is_seen_with_its_waits_streams_and_recorder() {
    let mut model = opened();
    let screen = seen(&mut model, 120, 40);
    let whole = screen.join("\n");
    for words in ["session   0-0   server   h2", "age 1m15s", "h handler 3.00s", "s socket 1.00s", "/drip"] {
        assert!(whole.contains(words), "no {words:?} in\n{whole}");
    }
    let recorder = screen.iter().position(|line| line == "FLIGHT RECORDER").unwrap();
    assert!((20..30).contains(&recorder), "{whole}");
    // Its end is what is seen of it, above the keys.
    assert!(screen[38].ends_with("PING stream=0 length=39"), "{whole}");
    assert!(screen[39].contains("Esc back"), "{whole}");
}

#[test]
fn a_session_that_ended_says_so() {
    let mut model = opened();
    model.hear_gone("0-0");
    assert!(seen(&mut model, 120, 40)[1].contains("this session has ended"));
}

#[test]
fn questions_filters_and_notices_take_the_last_row() {
    let mut model = model(1);
    model.press(KeyCode::Char('C').into());
    assert!(seen(&mut model, 100, 12)[11].starts_with("close session 0-0 now and cut off 1 stream?"));
    model.press(KeyCode::Esc.into());
    model.press(KeyCode::Char('/').into());
    for sign in "age > 1".chars() {
        model.press(KeyCode::Char(sign).into());
    }
    assert_eq!(seen(&mut model, 100, 12)[11], "filter: age > 1_");
    model.press(KeyCode::Enter.into());
    model.hear_refused("column 7: a time has a unit".to_owned());
    let screen = seen(&mut model, 100, 12);
    assert_eq!(screen[10..], ["column 7: a time has a unit", "filter: age > 1_"]);
    model.press(KeyCode::Esc.into());
    model.hear_told("session 0-0 is closed".to_owned());
    assert_eq!(seen(&mut model, 100, 12)[11], "session 0-0 is closed");
}

#[test]
fn a_gateway_that_is_not_heard_is_said_in_the_head() {
    let mut model = model(1);
    model.hear_lost("no gateway at http://127.0.0.1:9901".to_owned());
    assert!(seen(&mut model, 100, 12)[0].starts_with("not connected, trying again: no gateway"));
}

#[test]
fn help_lies_over_the_rest() {
    let mut model = model(1);
    model.press(KeyCode::Char('?').into());
    let whole = seen(&mut model, 100, 40).join("\n");
    for words in HELP.iter().filter(|line| !line.is_empty()) {
        assert!(whole.contains(words), "no {words:?} in\n{whole}");
    }
}

#[test]
fn any_size_will_do() {
    for (columns, rows) in [(0, 0), (1, 1), (1, 50), (200, 1), (10, 3), (59, 5), (60, 8), (300, 100)] {
        for mut model in [model(0), model(50), opened()] {
            painted(&mut model, COLOUR, columns, rows);
            for key in ['?', 'c', '/'] {
                model.press(KeyCode::Char(key).into());
                painted(&mut model, COLOUR, columns, rows);
                model.press(KeyCode::Esc.into());
            }
        }
    }
}

#[test]
fn what_a_peer_sent_cannot_steer_the_terminal() {
    let mut model = opened();
    let hostile = "\u{1b}[2J\u{9b}31m\n\u{7f}";
    let stream = Stream {
        id: 1,
        method: hostile.to_owned(),
        path: hostile.to_owned(),
        on: Some(hostile.to_owned()),
        ..Stream::default()
    };
    let entry = Entry { state: Some(hostile.to_owned()), ..Entry::default() };
    model.hear_session(Session {
        peer: Some(hostile.to_owned()),
        streams: vec![stream],
        recorder: vec![entry],
        ..session(0)
    });
    model.hear_told(hostile.to_owned());
    let buffer = painted(&mut model, COLOUR, 200, 40);
    assert!(buffer.content.iter().all(|cell| !cell.symbol().contains(char::is_control)));
    assert!(lines(&buffer).join("\n").contains("\\u{1b}[2J\\u{9b}31m"));
}
