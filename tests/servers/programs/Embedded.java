import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/** Tomcat inside a program, as Spring Boot starts it. */
public class Embedded {
    public static class Hello extends HttpServlet {
        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response)
                throws IOException {
            response.setContentType("text/plain");
            response.getWriter().print("hello from tomcat\n");
        }
    }

    public static void main(String[] arguments) throws Exception {
        var tomcat = new Tomcat();
        tomcat.setBaseDir(arguments[2]);
        var connector = new Connector();
        connector.setProperty("address", arguments[0]);
        connector.setProperty("maxKeepAliveRequests", "-1");
        connector.setPort(Integer.parseInt(arguments[1]));
        tomcat.setConnector(connector);
        var context = tomcat.addContext("", arguments[2]);
        Tomcat.addServlet(context, "hello", new Hello());
        context.addServletMappingDecoded("/hello", "hello");
        tomcat.start();
        tomcat.getServer().await();
    }
}
