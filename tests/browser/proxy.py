"""Serves one page, and passes everything else on: `proxy.py PORT SERVER_PORT PAGE`."""
import http.client
import http.server
import socketserver
import sys

port, to, page = int(sys.argv[1]), int(sys.argv[2]), open(sys.argv[3], "rb").read()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/page":
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page)
            return
        headers = {"host": "localhost"}
        if self.headers.get("last-event-id"):
            headers["last-event-id"] = self.headers["last-event-id"]
        try:
            server = http.client.HTTPConnection("127.0.0.1", to)
            server.request("GET", self.path, headers=headers)
            answer = server.getresponse()
            self.send_response(answer.status)
            self.send_header("content-type", answer.getheader("content-type") or "text/plain")
            self.end_headers()
            while part := answer.read1(65536):
                self.wfile.write(part)
                self.wfile.flush()
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


Server(("127.0.0.1", port), Handler).serve_forever()
