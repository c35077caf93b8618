import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;

/** A server with objects to look at: `Jvm MEGABYTES` prints its port and answers every GET. */
public class Jvm {
    record Row(String name, byte[] text) {}

    public static void main(String[] arguments) throws Exception {
        List<Row> kept = new ArrayList<>();
        for (int i = 0; i < Integer.parseInt(arguments[0]) * 1000; i++) {
            kept.add(new Row("row " + i, new byte[900]));
        }
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            int sum = 0;
            for (int i = 0; i < 200; i++) {
                sum += kept.get(i).name().length();
            }
            byte[] body = String.valueOf(sum).getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        System.out.println(server.getAddress().getPort());
    }
}
