import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** A page of a kilobyte by the HTTP server of the JDK. */
public class Page {
    public static void main(String[] arguments) throws Exception {
        byte[] body = "x".repeat(1024).getBytes();
        var address = new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1]));
        var server = HttpServer.create(address, 0);
        server.createContext("/page", exchange -> {
            exchange.sendResponseHeaders(200, body.length);
            try (var out = exchange.getResponseBody()) {
                out.write(body);
            }
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }
}
