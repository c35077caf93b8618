import java.util.Scanner;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Leaves a thread-local behind with every request on the threads of a pool: "grow N" serves N requests. */
public class ThreadLocalLeak {
    static final class RequestContext {
        final byte[] body = new byte[1_000];
        /** The value holds its own key, so that the weak key of the thread's map is never cleared. */
        final ThreadLocal<RequestContext> current = new ThreadLocal<>();
    }

    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(2);
        System.out.println("ready");
        Scanner commands = new Scanner(System.in);
        while (commands.hasNext() && commands.next().equals("grow")) {
            int requests = commands.nextInt();
            for (int i = 0; i < requests; i++) {
                pool.submit(ThreadLocalLeak::serve).get();
            }
            System.out.println("grown");
        }
        pool.shutdown();
    }

    private static void serve() {
        RequestContext context = new RequestContext();
        context.current.set(context);
    }
}
