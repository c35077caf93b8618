import java.util.HashMap;
import java.util.Map;
import java.util.Scanner;

/** Remembers every visitor in a static map and forgets none: "grow N" on stdin brings N visitors. */
public class StaticMap {
    static final class Session {
        final byte[] basket = new byte[1_000];
    }

    private static final Map<String, Session> SESSIONS = new HashMap<>();

    public static void main(String[] arguments) {
        System.out.println("ready");
        Scanner commands = new Scanner(System.in);
        while (commands.hasNext() && commands.next().equals("grow")) {
            visit(commands.nextInt());
            System.out.println("grown");
        }
    }

    private static void visit(int visitors) {
        for (int i = 0; i < visitors; i++) {
            SESSIONS.put("visitor-" + SESSIONS.size(), new Session());
        }
    }
}
