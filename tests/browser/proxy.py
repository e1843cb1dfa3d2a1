"""Serves one page and passes streams on: `proxy.py PORT SERVER_PORT PAGE DIRECTORY`. In the directory it puts what happened."""
import http.client
import http.server
import socketserver
import sys

port, to, page, directory = int(sys.argv[1]), int(sys.argv[2]), open(sys.argv[3], "rb").read(), sys.argv[4]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/page":
            return self.answer(200, "text/html", page)
        if self.path.startswith("/seen?"):
            with open(directory + "/seen", "w") as file:
                file.write(self.path.removeprefix("/seen?").replace("+", " "))
            return self.answer(200, "text/plain", b"")
        if not self.path.startswith("/v1/"):
            return self.answer(404, "text/plain", b"")
        last = self.headers.get("last-event-id")
        try:
            server = http.client.HTTPConnection("127.0.0.1", to)
            server.request("GET", self.path, headers={"host": "localhost"} | ({"last-event-id": last} if last else {}))
            answer = server.getresponse()
            with open(directory + "/followed", "a") as file:
                file.write(f"after {last}: {answer.status}\n")
            self.answer(answer.status, answer.getheader("content-type") or "text/plain", b"")
            while part := answer.read1(65536):
                self.wfile.write(part)
                self.wfile.flush()
        except (OSError, http.client.HTTPException):
            self.close_connection = True

    def answer(self, status, form, body):
        self.send_response(status)
        self.send_header("content-type", form)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


Server(("127.0.0.1", port), Handler).serve_forever()
