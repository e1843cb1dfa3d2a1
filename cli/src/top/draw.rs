//! The board as it is drawn.

use super::board::{Board, Row};
use crate::output::Tone;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as TableRow, Table, TableState, Wrap};

/// What the keys do.
const KEYS: &str = "q ends   arrows move   enter explains   / filters";

pub(super) fn draw(frame: &mut Frame<'_>, board: &mut Board) {
    let parts = Layout::vertical([
        Constraint::Length(3),
        Constraint::Min(1),
        Constraint::Length(1),
    ]);
    let [head, body, foot] = parts.areas(frame.area());
    frame.render_widget(Paragraph::new(heading(board)), head);
    rows(frame, body, board);
    frame.render_widget(Paragraph::new(footing(board)), foot);
    if let Some(told) = &board.told {
        let area = middle(frame.area());
        let said = Paragraph::new(told.as_str())
            .wrap(Wrap { trim: false })
            .block(Block::bordered().title("explain"));
        frame.render_widget(Clear, area);
        frame.render_widget(said, area);
    }
}

fn heading(board: &Board) -> Vec<Line<'static>> {
    let (counts, seen) = (&board.counts, &board.seen);
    let painted = |tone, text: String| Span::styled(text, style(tone));
    let health_tone = match seen.health.as_str() {
        "running" => Tone::Good,
        _ => Tone::Waiting,
    };
    let more = |is_more: bool| if is_more { "+" } else { "" };
    let handlers = seen.handlers;
    vec![
        Line::from(vec![
            painted(Tone::Strong, "outlive top  ".to_owned()),
            painted(Tone::Plain, board.place.clone()),
            painted(
                health_tone,
                format!("  {}", crate::safe::line(&seen.health)),
            ),
            painted(
                Tone::Faint,
                format!("  handlers {}/{}", handlers.running, handlers.allowed),
            ),
        ]),
        Line::from(vec![
            painted(Tone::Busy, format!("{} running  ", counts.in_progress)),
            painted(Tone::Waiting, format!("{} suspended  ", counts.suspended)),
            painted(Tone::Plain, format!("{} pending  ", counts.pending)),
            painted(
                Tone::Plain,
                format!("{}{} ended  ", counts.ended, more(seen.more)),
            ),
            painted(Tone::Bad, format!("{} failed  ", counts.failed)),
            painted(
                Tone::Waiting,
                format!("{}{} questions", seen.asks, more(seen.more_asks)),
            ),
        ]),
        Line::from(painted(
            Tone::Faint,
            format!(
                "in the last minute: {} started, {} ended",
                counts.begun_lately, counts.ended_lately
            ),
        )),
    ]
}

fn rows(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let shown = board.shown();
    let head = ["ID", "TASK", "STATUS", "TURN", "TRY", "SINCE", "TITLE"];
    let head = TableRow::new(head).style(Style::new().add_modifier(Modifier::BOLD));
    let widths = [
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(24),
        Constraint::Length(5),
        Constraint::Length(4),
        Constraint::Length(7),
        Constraint::Fill(3),
    ];
    let table = Table::new(shown.iter().map(|row| cells(row)), widths)
        .header(head)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new();
    if !shown.is_empty() {
        state.select(Some(board.chosen));
    }
    frame.render_stateful_widget(table, area, &mut state);
}

fn cells(row: &Row) -> TableRow<'static> {
    let (tone, standing) = &row.standing;
    TableRow::new([
        Cell::from(row.id.clone()),
        Cell::from(row.task.clone()),
        Cell::from(Span::styled(standing.clone(), style(*tone))),
        Cell::from(row.turn.clone()),
        Cell::from(row.attempt.clone()),
        Cell::from(row.age.clone()),
        Cell::from(row.title.clone()),
    ])
}

fn footing(board: &Board) -> Line<'static> {
    if board.types {
        return Line::from(format!("/{}_", board.filter));
    }
    if let Some((why, since)) = &board.trouble {
        let text = format!("no look for {} s: {why}", since.elapsed().as_secs());
        return Line::from(Span::styled(text, style(Tone::Bad)));
    }
    let text = match board.filter.as_str() {
        "" => KEYS.to_owned(),
        filter => format!("{KEYS}   filter: {filter} (esc clears)"),
    };
    Line::from(Span::styled(text, style(Tone::Faint)))
}

fn middle(area: Rect) -> Rect {
    let (width, height) = (area.width * 4 / 5, area.height * 3 / 5);
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Bad => Style::new().fg(Color::Red),
        Tone::Busy => Style::new().fg(Color::Blue),
        Tone::Waiting => Style::new().fg(Color::Yellow),
        Tone::Faint => Style::new().add_modifier(Modifier::DIM),
        Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::Done;
    use super::super::fetch::Seen;
    use super::super::keys::Key;
    use super::*;
    use crate::settings::Place;
    use crate::view::Task;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn task(id: &str, status: &str) -> Task {
        Task {
            task_id: id.to_owned(),
            task: "echo".to_owned(),
            status: status.to_owned(),
            ..Task::default()
        }
    }

    fn board(tasks: Vec<Task>) -> Board {
        let seen = Seen {
            tasks,
            ..Seen::default()
        };
        Board::new(Place::Url("http://x".to_owned()), seen)
    }

    fn drawn(board: &mut Board) -> String {
        let mut terminal = Terminal::new(TestBackend::new(120, 20)).unwrap();
        terminal.draw(|frame| draw(frame, board)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn what_runs_comes_first_and_the_filter_leaves_the_rest_out() {
        let mut board = board(vec![
            task("done-1", "completed"),
            task("runs-1", "in_progress"),
        ]);
        let screen = drawn(&mut board);
        let [runs, done] = ["runs-1", "done-1"].map(|id| screen.find(id).expect("a row"));
        assert!(runs < done, "{screen}");
        for key in [Key::Char('/'), Key::Char('d'), Key::Char('o'), Key::Enter] {
            assert_eq!(board.press(key), Done::Nothing);
        }
        let screen = drawn(&mut board);
        assert!(
            screen.contains("done-1") && !screen.contains("runs-1"),
            "{screen}"
        );
        assert_eq!(board.press(Key::Enter), Done::Explain("done-1".to_owned()));
        assert_eq!(board.press(Key::Escape), Done::Nothing);
        assert_eq!(board.press(Key::Escape), Done::Quit);
    }

    #[test]
    fn nothing_of_a_task_drives_the_terminal() {
        let mut hostile = task("a", "pending");
        hostile.title = Some("\u{1b}[2J\u{202e}x".to_owned());
        let mut board = board(vec![hostile]);
        board.explained(Ok("words \u{9b}31m\u{7}".to_owned()));
        let rows: Vec<&Row> = board.shown();
        assert!(!rows[0].title.chars().any(char::is_control), "{rows:?}");
        let told = board.told.clone().unwrap();
        assert!(!told.chars().any(char::is_control), "{told:?}");
        assert!(drawn(&mut board).contains("words"));
    }

    #[test]
    fn the_chosen_task_stays_chosen_where_rows_come_and_go() {
        let mut board = board(vec![task("a", "pending"), task("b", "pending")]);
        board.press(Key::Down);
        let tasks = vec![
            task("new", "pending"),
            task("a", "pending"),
            task("b", "pending"),
        ];
        let seen = Seen {
            tasks,
            ..Seen::default()
        };
        board.see(Ok(seen), tokio::time::Instant::now());
        assert_eq!(board.press(Key::Enter), Done::Explain("b".to_owned()));
        board.see(Ok(Seen::default()), tokio::time::Instant::now());
        assert_eq!(board.press(Key::Enter), Done::Nothing);
    }
}
